-- A category for each failure, which the code of version 9 writes and older code may leave out.
CREATE TYPE failure_category AS ENUM ('card_declined', 'expired_card', 'fraud_suspected');
ALTER TABLE recovery_cases ADD COLUMN failure_category failure_category;
