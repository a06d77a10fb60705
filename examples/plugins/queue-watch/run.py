#!/usr/bin/env python3
"""A resident plugin: how many files wait in a directory, and for how long the oldest has waited.

It scans in a thread of its own, so that it always answers for its health; healthy is who has scanned lately.
"""
import json
import os
import sys
import threading
import time

FILES_MAX = 100_000
lock = threading.Lock()


def say(message):
    """One line, whole: threads share stdout."""
    with lock:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()


class Queue:
    def __init__(self, directory, interval_s):
        self.directory = directory
        self.interval_s = interval_s
        self.scanned_at = time.monotonic()
        self.problem = ""

    def files(self):
        """(time of change, name) of what waits, oldest first."""
        found = []
        with os.scandir(self.directory) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False):
                    found.append((entry.stat(follow_symlinks=False).st_mtime, entry.name))
                if len(found) >= FILES_MAX:
                    break
        return sorted(found)

    def scan(self):
        files = self.files()
        oldest = max(0.0, time.time() - files[0][0]) if files else 0.0
        say({"metric": {"name": "queue.files", "unit": "{file}", "value": len(files)}})
        say({"metric": {"name": "queue.oldest.age", "unit": "s", "value": oldest}})

    def watch(self):
        while True:
            try:
                self.scan()
                self.scanned_at, self.problem = time.monotonic(), ""
            except OSError as error:
                if not self.problem:
                    say({"log": {"severity": "error", "body": str(error)}})
                self.problem = str(error)
            time.sleep(self.interval_s)

    def health(self):
        if self.problem:
            return {"state": "failed", "message": self.problem}
        if time.monotonic() - self.scanned_at > 3 * self.interval_s + 5:
            return {"state": "failed", "message": "no scan for too long"}
        return {"state": "succeeded"}

    def oldest(self, call, count):
        for changed, name in self.files()[:count]:
            say({"id": call, "output": f"{int(time.time() - changed)} s {name}\n"})
        return {"state": "succeeded", "exit_code": 0}


def answer(queue, message):
    call = message["id"]
    try:
        if message["call"] == "health":
            result = queue.health()
        else:
            result = queue.oldest(call, message["args"].get("count", 10))
    except OSError as error:
        result = {"state": "failed", "message": str(error)}
    say({"id": call, "result": result})


def main():
    queue = None
    for line in sys.stdin:  # ends when the agent closes it: then so do we
        message = json.loads(line)
        if "hello" in message:
            config = message["hello"]["config"]
            queue = Queue(config["directory"], config.get("interval_s", 10))
            threading.Thread(target=queue.watch, daemon=True).start()
            say({"ready": {"protocol": 1}})
        elif "call" in message:
            answer(queue, message)


main()
