-- Write 'declined', as the old provider says it, the way the new one does.
UPDATE recovery_cases SET failure_reason = 'card_declined';
