"""Published figures that several rooms are held to."""

from __future__ import annotations

# Images for 80 % and 90 % power at true difference 0, by (margin, discordance).
SAMPLE_SIZES = {
    (0.005, 0.01): (2711, 3697),
    (0.005, 0.03): (7493, 10369),
    (0.005, 0.05): (12409, 17181),
    (0.01, 0.01): (804, 1062),
    (0.01, 0.03): (1933, 2658),
    (0.01, 0.05): (3133, 4335),
    (0.02, 0.01): (284, 354),
    (0.02, 0.03): (540, 721),
    (0.02, 0.05): (819, 1117),
}
