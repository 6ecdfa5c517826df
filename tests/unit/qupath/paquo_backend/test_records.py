from __future__ import annotations

import pickle

from qpbridge.qupath.paquo_backend.records import JavaFailure, QuPathFacts


def test_facts_tell_which_qupath_and_what_becomes_of_polygons():
    facts = QuPathFacts(version="0.7.0", folder="/opt/q", java_version="25.0.3", java_folder="/j", area_kept=0.168)

    assert facts.text == "QuPath 0.7.0 in /opt/q on Java 25.0.3"
    assert not facts.keeps_areas
    assert facts.trouble.startswith(f"{facts.text} loses parts of polygons: 17% of a trial outline's area")


def test_a_failure_crosses_the_border_between_processes():
    again = pickle.loads(pickle.dumps(JavaFailure("QuPath cannot read it")))

    assert str(again) == "QuPath cannot read it"
