-- Which app-server an operation under way belongs to: no other one settles it before it has certainly failed. '': anybody.
ALTER TABLE ns_intent ADD COLUMN owner TEXT NOT NULL DEFAULT '';
