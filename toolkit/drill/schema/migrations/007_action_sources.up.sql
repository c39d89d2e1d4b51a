-- Tell who acted on a case, the scheduler or a person; cancellations and terminations were always a person's.
CREATE TYPE action_source AS ENUM ('scheduler', 'operator');

ALTER TABLE recovery_actions ADD COLUMN source action_source NOT NULL DEFAULT 'scheduler';

UPDATE recovery_actions
SET source = 'operator'
WHERE type IN ('cancel', 'terminate');

ALTER TABLE recovery_actions
    ADD CONSTRAINT recovery_actions_type_known CHECK (type IN ('nudge', 'cancel', 'terminate'));
