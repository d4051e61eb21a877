"""How the tables of the control plane came to be what they are: one module a version, carried out by Alembic."""
