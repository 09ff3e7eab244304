-- The kind of fraud, in the words of whoever labels; NULL: not known.

ALTER TABLE labels ADD COLUMN typology text COLLATE "C";
