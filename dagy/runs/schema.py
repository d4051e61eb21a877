"""The tables of the history, and the numbers that stand in them for states and kinds of events.

A number, once given, never means anything else. A change of the tables is one more entry in `MIGRATIONS`.
"""

from __future__ import annotations

from dagy.states import StateType

APPLICATION_ID = 0x44414759  # "DAGY", in the file's header

STATES = {
    StateType.PENDING: 0,
    StateType.QUEUED: 1,
    StateType.RUNNING: 2,
    StateType.RETRYING: 3,
    StateType.COMPLETED: 4,
    StateType.FAILED: 5,
    StateType.TIMED_OUT: 6,
    StateType.CANCELLED: 7,
    StateType.SKIPPED: 8,
    StateType.CRASHED: 9,
}
STATE_OF = {number: state for state, number in STATES.items()}

RUN, TASK, OUTPUT, DISPLAY, HOOK, ITEM = range(6)  # kinds of events

# Each entry brings the tables to the version that is its place in the list, counted from 1.
#
# Times are nanoseconds since the epoch. A task is meant by its place in the flow's spec, counted from 0. What text a
# column holds may be a BLOB of UTF-8 instead, where it has half a surrogate pair, which SQLite's text can't hold.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE specs (digest TEXT PRIMARY KEY, json TEXT NOT NULL) WITHOUT ROWID",
        """
        CREATE TABLE runs (
            id INTEGER PRIMARY KEY,
            run_id TEXT NOT NULL UNIQUE,
            flow TEXT NOT NULL,
            version TEXT NOT NULL,
            spec TEXT NOT NULL REFERENCES specs,
            tasks INTEGER NOT NULL,        -- how many
            state INTEGER NOT NULL,
            message TEXT NOT NULL,
            created_at INTEGER NOT NULL,
            started_at INTEGER NOT NULL,
            ended_at INTEGER,              -- NULL: it has not ended
            resumed_from TEXT,             -- the run_id whose results it began with
            resumed_by TEXT,               -- the run_id that goes on where this one ended
            host TEXT NOT NULL,            -- the owner: which machine, since which boot, which process
            boot TEXT NOT NULL,
            pids TEXT NOT NULL,            -- the namespace that `pid` is a number in
            pid INTEGER NOT NULL,
            pid_started INTEGER NOT NULL,  -- clock ticks after boot
            fence INTEGER NOT NULL,        -- grows when another owner takes over; who has an older number can't write
            lease_until INTEGER,           -- what counts where the owner's process can't be seen
            dagy TEXT NOT NULL,
            python TEXT NOT NULL
        )
        """,
        "CREATE INDEX runs_not_ended ON runs (id) WHERE ended_at IS NULL",
        "CREATE INDEX runs_by_flow ON runs (flow, id)",
        "CREATE INDEX runs_by_state ON runs (state, id)",
        """
        CREATE TABLE counts (              -- how many tasks of a run are in a state; those in none of these: PENDING
            run INTEGER NOT NULL REFERENCES runs,
            state INTEGER NOT NULL,
            tasks INTEGER NOT NULL,
            PRIMARY KEY (run, state)
        ) WITHOUT ROWID
        """,
        """
        CREATE TABLE events (
            run INTEGER NOT NULL REFERENCES runs,
            seq INTEGER NOT NULL,          -- from 0, without gaps
            at INTEGER NOT NULL,
            kind INTEGER NOT NULL,
            task INTEGER,
            item INTEGER,                  -- of a mapped task, from 0
            attempt INTEGER,
            state INTEGER,
            message TEXT,                  -- of a state; what was written; what a hook raised
            detail TEXT,                   -- the stream; the display as JSON; the hook
            PRIMARY KEY (run, seq)
        ) WITHOUT ROWID
        """,
        """
        CREATE TABLE results (
            run INTEGER NOT NULL REFERENCES runs,
            task INTEGER NOT NULL,
            item INTEGER NOT NULL,         -- of a mapped task, from 0; -1: the whole task
            attempt INTEGER NOT NULL,
            codec TEXT,                    -- NULL: the value could not be kept, and `value` says why
            value BLOB,                    -- NULL: it is in the file `name`
            name TEXT,
            size INTEGER NOT NULL,         -- bytes
            PRIMARY KEY (run, task, item, attempt)
        ) WITHOUT ROWID
        """,
        """
        CREATE TABLE parameters (
            run INTEGER NOT NULL REFERENCES runs,
            parameter TEXT NOT NULL,
            codec TEXT,
            value BLOB,
            name TEXT,
            size INTEGER NOT NULL,
            PRIMARY KEY (run, parameter)
        ) WITHOUT ROWID
        """,
        "CREATE TABLE sources (digest TEXT PRIMARY KEY, parts TEXT NOT NULL) WITHOUT ROWID",  # parts: JSON, by name
        """
        CREATE TABLE code (                -- what the code of a run's tasks was
            run INTEGER NOT NULL REFERENCES runs,
            digest TEXT NOT NULL REFERENCES sources,
            tasks TEXT NOT NULL,           -- their places, as a JSON list
            PRIMARY KEY (run, digest)
        ) WITHOUT ROWID
        """,
    ),
)
