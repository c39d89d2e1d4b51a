-- Group the reasons for which payments fail.
ALTER TABLE recovery_cases ADD COLUMN reason_group text NOT NULL DEFAULT 'card';

UPDATE recovery_cases
SET failure_reason = 'card_declined'
WHERE failure_reason IN ('expired_card', 'insufficient_funds', 'authentication_required');
