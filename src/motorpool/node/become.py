"""``python -I -S become.py REPORT TTY CWD COMMAND...``: goes over into a command of a session.

Run by path, with nothing of this package: it takes its terminal, asks the kernel to be killed when
the platform dies, and executes the command. REPORT is a descriptor that is closed if that succeeds;
else it gets the error's number and words.
"""

import ctypes
import fcntl
import os
import signal
import sys
import termios

PR_SET_PDEATHSIG = 1


def main() -> None:
    report, tty, cwd, command = int(sys.argv[1]), sys.argv[2] == "tty", sys.argv[3], sys.argv[4:]
    os.set_inheritable(report, False)
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if tty:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        os.chdir(cwd)
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        os.umask(0o022)
        os.execvp(command[0], command)
    except OSError as error:
        os.write(report, f"{error.errno} {error.strerror}".encode())
        sys.exit(127 if isinstance(error, FileNotFoundError) else 126)


if __name__ == "__main__":
    main()
