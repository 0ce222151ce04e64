"""The pod supervisor: the small process that owns every pod process of a data directory.

``python -m motorpool.node.supervisor --data-dir D`` puts itself into the background, listens on
``D/run/supervisor.sock`` and does as it is told (`protocol.py`). It decides nothing: restarts,
probes and grace periods are the agent's business.

Why it is a process of its own: ``motorpool up`` may be killed or upgraded at any moment, and the
pods, their logs and their exit codes must not notice. So it imports little, holds little
(about 13 MB) and does one thing at a time.

Rules:

- It is the parent of every pod process: of those that it executes, and, as a *child subreaper*, of
  those that the fork server forks and of whatever their own children leave behind. Hence exit codes
  and signals are exact and no zombie stays.
- Each pod process leads a session of its own; what is left of it when the leader ends is killed.
- Every process is recorded in ``pods/UID/run/`` (`records.py`) before its start is acknowledged.
- Pod processes write into named pipes that they hold open for reading too, so that the death of
  the supervisor gives them no SIGPIPE. There is no PR_SET_PDEATHSIG: when the supervisor is killed
  the pods go on serving, and the next supervisor finds them by their recorded identity (pid, start
  time, boot), reads on from the same pipes and watches them through pidfds. Only the exit code of
  such an adopted process is unknown, because a process has just one parent. Until there is a new
  supervisor, a pod that logs more than a pipe holds (64 KiB) waits.
- It ends, and everything of its data directory with it, when that is deleted (`datadir.py`).
- One supervisor per data directory, by a lock that the kernel drops with the process.
"""
