package org.locationtech.jts.index.strtree

/** Finds all that was put in: the scripts look closer themselves. */
class STRtree {
    private final List items = []

    void insert(Object envelope, Object item) { items << item }

    List query(Object envelope) { items }
}
