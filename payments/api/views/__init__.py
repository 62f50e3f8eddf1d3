"""The merchant API's views: parse, one call, render. What happens is in payments.actions."""
