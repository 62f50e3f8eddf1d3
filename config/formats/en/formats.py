"""Read by Django's template filters and the admin's lists."""

DATETIME_FORMAT = "d M Y, H:i:s"
DATE_FORMAT = "d M Y"
TIME_FORMAT = "H:i:s"
SHORT_DATETIME_FORMAT = DATETIME_FORMAT
SHORT_DATE_FORMAT = DATE_FORMAT
