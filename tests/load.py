"""Requests without end, to see whether any fails while something is done to the platform."""

import http.client
import threading


class Load:
    """One client that asks and asks, on connections of its own; keeps what failed."""

    def __init__(self, port, host, path, *, context=None, token=""):
        """*context*: of TLS; without it the requests are plain."""
        self.port, self.host, self.path = port, host, path
        self.context = context
        self.headers = {"Host": host, **({"Authorization": f"Bearer {token}"} if token else {})}
        self.answered = 0
        self.failures = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join(20)

    def _run(self):
        while not self._end.is_set():
            connection = self._connection()
            try:
                for _ in range(50):
                    connection.request("GET", self.path, headers=self.headers)
                    response = connection.getresponse()
                    response.read()
                    if response.status == 200:
                        self.answered += 1
                    else:
                        self.failures.append(response.status)
            except OSError as error:
                self.failures.append(repr(error))
            finally:
                connection.close()

    def _connection(self):
        if self.context is None:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=10, context=self.context)
