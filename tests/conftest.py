"""For all tests: how long an example takes says more of the machine than of the code.

And Ctrl-C is felt by the programs that tests start, also where a script began the tests in the background, which
has it ignored.
"""

import signal

from hypothesis import settings

settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
