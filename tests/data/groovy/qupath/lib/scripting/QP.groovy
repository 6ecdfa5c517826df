package qupath.lib.scripting

/** What the scripts ask of QuPath, of one made-up image. */
class QP {
    static Object imageData, project, projectEntry

    static Object getCurrentImageData() { imageData }

    static Object getProject() { project }

    static Object getProjectEntry() { projectEntry }
}
