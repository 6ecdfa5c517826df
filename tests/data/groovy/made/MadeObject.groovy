package made

/** An upright rectangle as an object of QuPath, with what the scripts ask of one, and of its ROI and geometry. */
class MadeObject {
    UUID id
    double x, y, width, height
    String pathClass, name, description
    boolean locked, detection

    static MadeObject of(Map feature) {
        def ring = feature.geometry.coordinates[0]
        def xs = ring.collect { it[0] as double }, ys = ring.collect { it[1] as double }
        return new MadeObject(id: UUID.fromString(feature.id as String), x: xs.min(), y: ys.min(), width: xs.max() - xs.min(), height: ys.max() - ys.min(),
            pathClass: feature.properties?.classification?.name, detection: feature.properties?.objectType == 'detection')
    }

    Map feature() {
        def ring = [[x, y], [x + width, y], [x + width, y + height], [x, y + height], [x, y]]
        return [type: 'Feature', id: id.toString(), geometry: [type: 'Polygon', coordinates: [ring]],
                properties: [objectType: detection ? 'detection' : 'annotation', classification: pathClass == null ? null : [name: pathClass, color: [1, 2, 3]]]]
    }

    UUID getID() { id }

    Map getMetadata() { description ? [ANNOTATION_DESCRIPTION: description] : [:] }

    Object getPathClass() { pathClass }
    boolean isRootObject() { false }
    boolean isTMACore() { false }
    boolean isAnnotation() { !detection }
    boolean isArea() { true }
    MadeObject getROI() { this }
    double getLength() { 2 * (width + height) }
    double getArea() { width * height }
    double getBoundsX() { x }
    double getBoundsY() { y }
    double getBoundsWidth() { width }
    double getBoundsHeight() { height }
    MadeObject getGeometry() { this }
    Object getEnvelopeInternal() { null }
    MadeObject getCentroid() { new MadeObject(x: x + width / 2, y: y + height / 2) }
    boolean intersects(MadeObject other) { other.x >= x && other.x <= x + width && other.y >= y && other.y <= y + height }

    MadeObject intersection(MadeObject other) {
        def left = Math.max(x, other.x), upper = Math.max(y, other.y)
        return new MadeObject(x: left, y: upper, width: Math.max(0d, Math.min(x + width, other.x + other.width) - left),
            height: Math.max(0d, Math.min(y + height, other.y + other.height) - upper))
    }
}
