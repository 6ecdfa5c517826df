"""The journal of jobs: an SQLite file that survives the sudden end of whoever writes it."""

from __future__ import annotations

import contextlib
import datetime
import sqlite3
import threading
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import msgspec

from qpbridge.errors import DamagedJournalError, DiskFullError, JobNotFoundError, JournalVersionError
from qpbridge.jobs.records import Job, JobError, JobPage, JobProgress, JobState
from qpbridge.jobs.store.paging import PageQuery

BUSY_S: Final = 10.0
"""How long to wait for another process that writes, s."""

KEPT_MAX: Final = 10_000
"""Ended jobs that are kept, unless somebody sets another limit."""

_MIGRATIONS: Final = (
    """
    CREATE TABLE jobs (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        kind TEXT NOT NULL,
        title TEXT NOT NULL,
        client TEXT NOT NULL,
        device TEXT NOT NULL,
        wanted_device TEXT NOT NULL,
        state TEXT NOT NULL,
        created TEXT NOT NULL,
        started TEXT,
        finished TEXT,
        progress TEXT,
        warnings TEXT NOT NULL,
        error TEXT,
        is_resumable INTEGER NOT NULL,
        is_elsewhere INTEGER NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0
    );
    CREATE INDEX jobs_by_state ON jobs (state, sequence);
    CREATE INDEX jobs_by_kind ON jobs (kind, sequence);
    CREATE INDEX jobs_by_state_and_kind ON jobs (state, kind, sequence);
    CREATE TABLE documents (
        sequence INTEGER PRIMARY KEY REFERENCES jobs ON DELETE CASCADE,
        request BLOB NOT NULL,
        result BLOB
    );
    """,
)
"""How the file of each version becomes one of the next; requests and results lie apart, so that lists stay quick."""

_COLUMNS: Final = "id, kind, title, client, device, state, created, started, finished, progress, warnings, error"
_TERMINAL: Final = ", ".join(f"'{state}'" for state in JobState if state.is_terminal)
_UNFINISHED: Final = ", ".join(f"'{state}'" for state in JobState if not state.is_terminal)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An unfinished job, as whoever goes on with it needs it.

    Parameters
    ----------
    job : Job
        With its request; its device is the one that was asked for.
    is_resumable : bool
        Whether another run can go on where this one was broken off.
    attempts : int
        How often it was begun.
    """

    job: Job
    is_resumable: bool
    attempts: int = 0


class Journal:
    """Jobs in an SQLite file; threads may share it, and processes the file.

    Parameters
    ----------
    path : Path
        Made where it is missing.

    Raises
    ------
    DamagedJournalError, JournalVersionError, DiskFullError
        Where the file cannot be used, here and in every method.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            with self._told():
                # With a write-ahead log, NORMAL loses nothing when a process dies, and never damages the file.
                self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON;")
                self._migrate()
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def add(self, entry: Entry, *, is_elsewhere: bool = False) -> None:
        """Write a new job down.

        Parameters
        ----------
        entry : Entry
            The job as it begins.
        is_elsewhere : bool
            Whether it runs in a process of its own and not in a server.
        """
        job = entry.job
        values = {**_changing(job), "id": job.id, "kind": job.kind, "title": job.title, "client": job.client}
        values |= {"wanted_device": job.device, "created": job.created.isoformat()}
        values |= {"is_resumable": entry.is_resumable, "is_elsewhere": is_elsewhere, "attempts": entry.attempts}
        names = ", ".join(values)
        marks = ", ".join(f":{name}" for name in values)
        with self._writing() as db:
            sequence = db.execute(f"INSERT INTO jobs ({names}) VALUES ({marks})", values).lastrowid
            db.execute("INSERT INTO documents (sequence, request) VALUES (?, ?)", (sequence, _json(job.request)))

    def save(self, job: Job) -> None:
        """Write down how a job stands now."""
        with self._writing() as db:
            _update(db, job)

    def begin(self, job: Job) -> None:
        """Write down that work on a job begins, once more perhaps."""
        with self._writing() as db:
            _update(db, job)
            db.execute("UPDATE jobs SET attempts = attempts + 1 WHERE id = ?", (job.id,))

    def get(self, job_id: str) -> Job:
        """Return a job with its request and result.

        Raises
        ------
        JobNotFoundError
            If there is none of that id.
        """
        rows = self._read(
            f"SELECT {_COLUMNS}, request, result FROM jobs JOIN documents USING (sequence) WHERE id = ?", (job_id,)
        )
        if not rows:
            raise JobNotFoundError(f"no job '{job_id}'; qpbridge jobs list names those that are kept")
        *row, request, result = rows[0]
        return replace(_job(row), request=_value(request), result=_value(result))

    def page(self, size: int, token: str, states: Collection[JobState], kinds: Collection[str]) -> JobPage:
        """Return a part of the list of jobs, the newest first; see ``PageQuery``."""
        query = PageQuery.of(size, token, states, kinds)
        rows = self._read(query.sql(f"sequence, {_COLUMNS}"), query.values())
        more = query.token_after(rows[query.size - 1][0]) if len(rows) > query.size else ""
        return JobPage(jobs=tuple(_job(row[1:]) for row in rows[: query.size]), next_page_token=more)

    def unfinished(self, *, elsewhere: bool = False) -> list[Entry]:
        """Return the jobs that wait or run, the oldest first; those of a server, or those elsewhere."""
        rows = self._read(
            f"SELECT {_COLUMNS}, wanted_device, request, is_resumable, attempts FROM jobs JOIN documents"
            f" USING (sequence) WHERE state IN ({_UNFINISHED}) AND is_elsewhere = ? ORDER BY sequence",
            (elsewhere,),
        )
        return [
            Entry(
                job=replace(_job(row[:-4]), device=wanted, request=_value(request)),
                is_resumable=bool(is_resumable),
                attempts=attempts,
            )
            for row in rows
            for wanted, request, is_resumable, attempts in [row[-4:]]
        ]

    def prune(self, kept: int) -> int:
        """Forget all but the newest ``kept`` jobs that have ended; return how many that were."""
        with self._writing() as db:
            return db.execute(
                f"DELETE FROM jobs WHERE state IN ({_TERMINAL}) AND sequence <= (SELECT sequence FROM jobs"
                f" WHERE state IN ({_TERMINAL}) ORDER BY sequence DESC LIMIT 1 OFFSET ?)",
                (kept,),
            ).rowcount

    def _migrate(self) -> None:
        with self._transaction():
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version > len(_MIGRATIONS):
                raise JournalVersionError(
                    f"{self._path} was written by a newer qpbridge (its version is {version}, this one knows"
                    f" {len(_MIGRATIONS)}): update qpbridge, or set QPBRIDGE_STATE to another folder"
                )
            for statement in ";".join(_MIGRATIONS[version:]).split(";"):
                self._db.execute(statement)
            self._db.execute(f"PRAGMA user_version = {len(_MIGRATIONS)}")

    def _read(self, statement: str, values: Sequence[Any]) -> list[Any]:
        with self._lock, self._told():
            return self._db.execute(statement, values).fetchall()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._told(), self._transaction():
            yield self._db

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            # A full disk has rolled it back already.
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise self._cause(error) from error

    def _cause(self, error: sqlite3.DatabaseError) -> Exception:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            return DiskFullError(f"no space left for {self._path}; nothing was changed: make room there")
        if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
            return DamagedJournalError(f"{self._path} is damaged ({error}): move it away, and a new one begins")
        return error


def _update(db: sqlite3.Connection, job: Job) -> None:
    values = _changing(job)
    changes = ", ".join(f"{name} = :{name}" for name in values)
    db.execute(f"UPDATE jobs SET {changes} WHERE id = :id", {**values, "id": job.id})
    if job.result is not None:
        of_job = "sequence = (SELECT sequence FROM jobs WHERE id = ?)"
        db.execute(f"UPDATE documents SET result = ? WHERE {of_job}", (_json(job.result), job.id))


def _changing(job: Job) -> dict[str, Any]:
    return {
        "state": job.state.value,
        "device": job.device,
        "started": job.started and job.started.isoformat(),
        "finished": job.finished and job.finished.isoformat(),
        "progress": job.progress and _json(job.progress),
        "warnings": _json(job.warnings),
        "error": job.error and _json(job.error),
    }


def _job(row: Sequence[Any]) -> Job:
    names = ("id", "kind", "title", "client", "device")
    state, created, started, finished, progress, warnings, error = row[len(names) :]
    return Job(
        **dict(zip(names, row, strict=False)),
        state=JobState(state),
        created=datetime.datetime.fromisoformat(created),
        started=started and datetime.datetime.fromisoformat(started),
        finished=finished and datetime.datetime.fromisoformat(finished),
        progress=progress and _progress(_value(progress)),
        warnings=tuple(_value(warnings)),
        error=error and JobError(**_value(error)),
    )


def _progress(value: dict[str, Any]) -> JobProgress:
    # What is no number (a loss of NaN) is null in JSON.
    numbers = {name: number for name, number in value.pop("numbers").items() if number is not None}
    return JobProgress(**value, numbers=numbers)


def _json(value: object) -> bytes:
    return msgspec.json.encode(value, enc_hook=str)


def _value(encoded: bytes | None) -> Any:
    return None if encoded is None else msgspec.json.decode(encoded)
