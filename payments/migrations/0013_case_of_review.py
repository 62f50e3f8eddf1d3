"""A payment in review keeps an open case, whichever of the two is written."""

from __future__ import annotations

from django.db import migrations

SQL = """
CREATE FUNCTION payments_check_closed_case() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
    IF EXISTS (SELECT FROM public.payments_payment p
                WHERE p.id = NEW.payment_id AND p.state = 'in_review')
       AND NOT EXISTS (SELECT FROM public.payments_reviewcase c
                        WHERE c.payment_id = NEW.payment_id AND c.resolved_at IS NULL) THEN
        RAISE EXCEPTION 'payment % is in review without an open case', NEW.payment_id
            USING ERRCODE = '23514', CONSTRAINT = 'payment_in_review_has_case';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER case_of_payment_in_review
    AFTER UPDATE ON payments_reviewcase
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.resolved_at IS NOT NULL)
    EXECUTE FUNCTION payments_check_closed_case();
ALTER TABLE payments_reviewcase ENABLE ALWAYS TRIGGER case_of_payment_in_review;
"""


class Migration(migrations.Migration):
    dependencies = [("payments", "0012_open_parts")]

    operations = [
        migrations.RunSQL(SQL, "DROP FUNCTION payments_check_closed_case CASCADE"),
    ]
