"""Brings the schema of the database up to date."""

from importlib.resources import as_file, files
from urllib.parse import urlsplit, urlunsplit


def migrate(dsn: str) -> None:
    """Brings the schema up to date. Needs a login that may create tables and roles. May be repeated; one at a time."""
    # Services never migrate, and need not wait for what only this needs.
    import yoyo

    parts = urlsplit(dsn)
    backend = yoyo.get_backend(urlunsplit(parts._replace(scheme="postgresql+psycopg")))
    try:
        with as_file(files("services.records") / "migrations") as folder:
            migrations = yoyo.read_migrations(str(folder))
        with backend.lock():
            backend.apply_migrations(backend.to_apply(migrations))
    finally:
        backend.connection.close()
