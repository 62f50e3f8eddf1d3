"""How dates and times are written on pages: one unambiguous form, to the second, in UTC."""
