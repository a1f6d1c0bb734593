"""Records in, tables, figures and pages out; reads nothing but records and imports no torch."""
