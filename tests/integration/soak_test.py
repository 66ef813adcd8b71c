"""A minute of what soak.py does for as long as one likes."""
import unittest

import scottyd_proc as sp
import soak


class Soak(unittest.TestCase):
    def test_nothing_is_lost_late_or_left_open(self):
        self.assertTrue(soak.soak(60, 15), "see the table")


if __name__ == "__main__":
    sp.main()
