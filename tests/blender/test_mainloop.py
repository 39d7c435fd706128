"""Work handed to the main thread: all of it, in order, whatever fails."""

import threading
import time

from bl_ext.user_default.emo_avatar.emo_avatar_addon import mainloop


def test_order_is_kept_and_failures_stop_nothing(capfd):
    done = []
    mainloop.call_soon(lambda: done.append(threading.current_thread() is threading.main_thread()))
    mainloop.call_soon(lambda: 1 / 0)
    thread = threading.Thread(target=lambda: [mainloop.call_soon(lambda n=n: done.append(n)) for n in range(100)])
    thread.start()
    thread.join()
    assert mainloop.drain()
    assert done == [True, *range(100)]
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_drain_waits_for_what_it_is_told_and_not_longer():
    arrived = []
    threading.Timer(0.1, lambda: mainloop.call_soon(lambda: arrived.append(1))).start()
    assert mainloop.drain(lambda: bool(arrived), timeout=60.0)
    begun = time.monotonic()
    assert not mainloop.drain(lambda: False, timeout=0.1)
    assert 0.1 <= time.monotonic() - begun < 60.0


def test_what_hands_itself_over_again_does_not_hold_blender_up():
    def again():
        nonlocal rounds
        rounds += 1
        assert rounds < 1000
        mainloop.call_soon(again)

    rounds = 0
    again()
    mainloop.drain()
    assert rounds == 2
    mainloop.unregister()  # drops what waits
    mainloop.register()
