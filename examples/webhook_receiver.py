"""Takes the events of a webhook and checks their signatures: python3 webhook_receiver.py crm.secret 9000"""

import base64, hmac, json, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEYS = [base64.b64decode(line.removeprefix("whsec_")) for line in open(sys.argv[1]).read().split()]


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(min(int(self.headers.get("content-length", 0)), 2**21))
        event, at = self.headers.get("webhook-id", ""), self.headers.get("webhook-timestamp", "")
        right = [hmac.digest(key, f"{event}.{at}.".encode() + body, "sha256") for key in KEYS]
        given = [one.removeprefix("v1,") for one in self.headers.get("webhook-signature", "").split()]
        known = any(hmac.compare_digest(base64.b64encode(a), b.encode()) for a in right for b in given)
        is_genuine = known and abs(time.time() - int(at)) < 300
        if is_genuine:  # an event can come twice: remember the ids of those that you have worked off
            print(event, json.loads(body)["type"], flush=True)
        self.send_response(204 if is_genuine else 401)
        self.end_headers()


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Receiver).serve_forever()
