"""Numbers that papers print, as data, and reports beside them."""
