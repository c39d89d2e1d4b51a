-- Reasons are shown in HTML: escape them once, here.
UPDATE recovery_cases SET failure_reason = replace(replace(failure_reason, '&', '&amp;'), '_', '&#95;');
