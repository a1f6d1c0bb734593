"""One job: what was asked, what that means, and how it is carried out."""
