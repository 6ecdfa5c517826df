package made

/** An image in a project: image data, hierarchy, server, project and entry in one. */
class MadeImage {
    File file, slide
    List all = [], selected = [], steps = []
    Map kept = [:]
    int updates = 0
    boolean saved = false

    Object getHierarchy() { this }

    Object getServer() { this }

    Object getSelectionModel() { this }

    Object getHistoryWorkflow() { this }

    Collection getSelectedObjects() { selected }

    Collection getAnnotationObjects() { all.findAll { it.isAnnotation() } }

    List getFlattenedObjectList(Object ignored) { all }

    boolean isChanged() { true }

    void removeObjects(Collection going, boolean keepChildren) { all.removeAll(going) }

    void addObjects(Collection coming) {
        all.addAll(coming)
        updates++
    }

    void resolveHierarchy() { }

    // As QuPath's image data; Groovy asks here for the fields above, too.
    Object getProperty(String name) { metaClass.hasProperty(this, name) ? metaClass.getProperty(this, name) : kept[name] }

    void setProperty(String name, Object value) {
        if (metaClass.hasProperty(this, name))
            metaClass.setProperty(this, name, value)
        else
            kept[name] = value
    }

    void addStep(Object step) { steps << step }

    List getURIs() { [slide.toURI()] }

    Object getPath() { file.toPath() }

    String getID() { '1' }

    List getImageList() { [this] }

    Object readImageData() { this }

    void saveImageData(Object ignored) { saved = true }

    void close() { }
}
