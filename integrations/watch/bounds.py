"""The bounds of the watch, each with what it was measured by (docs/decisions/0017).

A patient is the unit of chance: five values of one sample say no more than one.
"""

import math
from datetime import timedelta

# Figures older than eight weeks are not compared with: seasons and assays change. Eight of each weekday are left.
REMEMBERED = timedelta(days=56)
# A feed that has sent fewer extracts than this has no history yet, and nothing is judged by it.
MIN_EXTRACTS = 3
# The spread of a code is known from so many patients and days; a share from so many values.
MIN_PAST_PATIENTS, MIN_PAST_DAYS, MIN_PAST_VALUES = 30, 3, 200
MIN_PATIENTS = 5  # fewer patients of a code in an extract say nothing of its scale, its units or its words

# What always came and does not, or the other way round: less than once in a million extracts by chance, since a
# blocking finding stops scores. What is only a note may come once in a thousand.
LOG_P_GONE, LOG_P_NEW = math.log(1e-6), math.log(1e-3)
LOG_P_HALF = math.log(1e-2)  # of the old code in a renaming, where the new one speaks too
MIN_DAYS_SENT = 2.0  # nothing is gone that was sent for less: a feed of many extracts a day must have seen two nights
LONGEST_GAP_TIMES = 1.5  # what came only each week is not missed on the second day
RENAMED_SPREAD = 0.35  # of log10(90th / 10th percentile): two assays of one thing spread alike
RENAMED_SAME = math.log10(1.25)  # medians nearer than this are on one scale

# A median moves by chance less than 5 standard errors; a factor below 1.5 is no conversion that anybody makes
# (the smallest of unit_factors.csv is 1.6). The outer tenths move more.
JUMP, JUMP_ERRORS = math.log10(1.5), 5.0
OUTER_JUMP, OUTER_ERRORS = math.log10(3.0), 6.0

SHARE_MOVED, SHARE_ERRORS = 0.2, 6.0  # of the units of a code
RISE, RISE_ERRORS, RISE_FEWEST = 0.01, 5.0, 5  # of repeated, corrected and junk values
LEAST_SPREAD = 3.0  # results come in panels, so shares and counts vary at least three times more than dice
JUNK_BLOCKS = 0.5  # of a code whose values are words of nothing for every other patient little is left

DELAY, DELAY_ERRORS = math.log10(2.0), 5.0
OVERDUE_SHARE = 0.05  # of results that were issued later than the contract's lateness allows

# Volume by ward: four of the same weekday make a usual day; see docs/decisions/0017 for what is found at which size.
MIN_SAME_WEEKDAYS = 4
VOLUME_ERRORS = 4.0
LOST_AT_LEAST = 0.1
PRIOR_HOURS = 4.0  # patient hours of the ward's own mean that each weekday and hour begins with: some are nearly empty
WEEK = timedelta(days=7)

CONVERSION_WITHIN = 0.2  # a factor within 20 % of a known one is named by it: medians of a night vary that much
