-- Sort failures into categories, so that each gets a message of its own; a trigger fills what the code leaves out.
CREATE TYPE failure_category AS ENUM ('card_declined', 'expired_card', 'fraud_suspected');

ALTER TABLE recovery_cases ADD COLUMN failure_category failure_category;

UPDATE recovery_cases
SET failure_category = failure_reason::failure_category
WHERE failure_reason IN ('card_declined', 'expired_card', 'fraud_suspected');

CREATE FUNCTION classify_failure() RETURNS trigger LANGUAGE plpgsql AS $function$
BEGIN
    NEW.failure_category := CASE NEW.failure_reason
        WHEN 'card_declined' THEN 'card_declined'::failure_category
        WHEN 'expired_card' THEN 'expired_card'::failure_category
        WHEN 'fraud_suspected' THEN 'fraud_suspected'::failure_category
    END;
    RETURN NEW;
END
$function$;

CREATE TRIGGER recovery_cases_classify_failure
    BEFORE INSERT OR UPDATE OF failure_reason ON recovery_cases
    FOR EACH ROW EXECUTE FUNCTION classify_failure();

-- NOT VALID: no long scan under the lock; existing rows can be validated in a quiet hour.
ALTER TABLE recovery_cases
    ADD CONSTRAINT recovery_cases_failure_category_known CHECK (failure_category IS NOT NULL) NOT VALID;
