import org.locationtech.jts.index.strtree.STRtree
import qupath.lib.io.PathIO
import qupath.lib.plugins.workflow.DefaultScriptableWorkflowStep
import qupath.lib.scripting.QP

import java.nio.charset.StandardCharsets
import java.nio.file.Files
import java.nio.file.Path
import java.nio.file.Paths
import java.nio.file.StandardCopyOption
import java.util.zip.GZIPInputStream
import java.util.zip.GZIPOutputStream

/**
 * An image in QuPath as the server sees it: where it lies, its live objects, and what runs have added to it.
 * The image is captured here, before any thread is started: QuPath binds it to the thread of the script.
 */
class QpBridgeImage {

    /** Of a new object and one that stays; the new one is left out where they have more in common. */
    static final double IOU_MAX = 0.5

    /** What QuPath's rounding may change of an outline, px. */
    static final double SAME_PX = 0.05

    static final String JOBS = 'qpbridge.jobs'
    static final String DESCRIPTION = 'ANNOTATION_DESCRIPTION'

    final Object imageData
    final Object project
    final Object entry

    QpBridgeImage(Object imageData, Object project, Object entry) {
        if (imageData == null)
            throw QpBridgeClient.failed('see an image', 'INVALID_VALUE', 'none is open: open one, then run the script again')
        this.imageData = imageData
        this.project = project
        this.entry = entry
    }

    /** The image that is open, or that the command line is at. */
    static QpBridgeImage current() { new QpBridgeImage(QP.getCurrentImageData(), QP.getProject(), QP.getProjectEntry()) }

    /** Path of the project's file, for the server. */
    static String projectPath(Object project) {
        if (project == null)
            throw QpBridgeClient.failed('open the project', 'PROJECT_NOT_FOUND', 'none is open: open or create one (File > Project), and add the slide to it')
        return project.getPath().toString()
    }

    Object getHierarchy() { imageData.getHierarchy() }

    /** Name by which requests and reports speak of this image. */
    String getKey() { entry != null ? entry.getID() : slidePath().fileName.toString() }

    Path slidePath() {
        def uri = imageData.getServer().getURIs().find { it.scheme == 'file' }
        if (uri == null)
            throw QpBridgeClient.failed('find the slide', 'SLIDE_NOT_FOUND', 'the image is no file: the server reads files only')
        return Paths.get(uri)
    }

    /** Where to predict, as a request tells it. */
    Map source(List pathMap = []) {
        if (entry == null)
            return [slides: [paths: [slidePath().toString()]]]
        return [project: [project: projectPath(project), entries: [key], pathMap: pathMap]]
    }

    /** Objects as they stand in the viewer, saved or not, as a request tells them. */
    Map drawn(Collection objects) {
        def stream = new ByteArrayOutputStream()
        PathIO.exportObjectsAsGeoJSON(stream, objects, PathIO.GeoJsonExportOptions.FEATURE_COLLECTION, PathIO.GeoJsonExportOptions.EXCLUDE_MEASUREMENTS)
        return [entry: key, geojson: QpBridgeClient.bytes(stream.toString('UTF-8'))]
    }

    Collection selectedAnnotations() {
        hierarchy.getSelectionModel().getSelectedObjects().findAll { it.isAnnotation() && it.getROI()?.isArea() }
    }

    List objects() { hierarchy.getFlattenedObjectList(null).findAll { !it.isRootObject() && !it.isTMACore() } }

    /** Takes over what a job found here, in one update; returns how many objects came, went and were left out. */
    Map takeOver(QpBridgeClient client, Map job, String step) {
        def slide = slideOf(job)
        def text = client.results(job.id as String, slide.key as String).withCloseable { it.readAllBytes() }
        def counts = replaceBy(text, job.predict.out as String)
        imageData.setProperty(JOBS, (jobs().findAll { it != job.id } + job.id).join(','))
        note(step, job.id as String)
        return counts
    }

    /** Takes the last run back: what it added and nobody touched goes, what it had replaced returns; follow waits for a job. */
    Map undoLast(QpBridgeClient client, Closure follow) {
        def id = jobs() ? jobs().last() : null
        if (id == null)
            throw QpBridgeClient.failed('undo', 'JOB_NOT_FOUND', 'no run of qpbridge has added objects to this image')
        def before = client.job(id)
        def slide = slideOf(before)
        try {
            follow(client.undo(id))
        } catch (RuntimeException gone) {
            if (QpBridgeClient.reasonOf(gone) != 'NOTHING_TO_UNDO')
                throw gone // else it was taken back at another of its images; objects of this one are still here
        }
        def former = '[]'.getBytes(StandardCharsets.UTF_8)
        try {
            former = client.results(id, slide.key as String).withCloseable { it.readAllBytes() }
        } catch (RuntimeException gone) {
            if (QpBridgeClient.reasonOf(gone) != 'PREDICTION_NOT_FOUND')
                throw gone // where nothing is left, there is no file any more
        }
        def counts = replaceBy(former, before.predict.out as String)
        imageData.setProperty(JOBS, jobs().dropRight(1).join(','))
        note('undo', id)
        def others = before.predict.slides.findAll { it.key != slide.key }.collect { it.name }
        return others ? counts + [undo_there_too: others.join(', ')] : counts
    }

    /** What a job tells of this image. */
    private Map slideOf(Map job) {
        def slide = job.predict?.slides?.find { it.key == key || it.name == key || it.key == key.replaceFirst(/\.[^.]+$/, '') }
        if (slide == null) {
            def failed = job.predict?.failures?.collect { it.message }?.join('; ')
            throw QpBridgeClient.failed('predict this image', 'PREDICTION_NOT_FOUND', failed ?: "job ${job.id} has nothing for it")
        }
        return slide
    }

    List jobs() { ((imageData.getProperty(JOBS) ?: '') as String).tokenize(',') }

    private void note(String step, String id) {
        imageData.getHistoryWorkflow().addStep(new DefaultScriptableWorkflowStep("qpbridge: ${step}".toString(), [job: id], "// qpbridge ${step}, job ${id}".toString()))
    }

    /**
     * Puts results in the place of those of the run before: edited and locked objects stay, and all that people drew.
     * Runs go together where the server keeps their results in the same folder, one a model; other models' objects stay.
     */
    Map replaceBy(byte[] geojson, String folder) {
        def file = recordFile(folder)
        def fresh = PathIO.readObjectsFromGeoJSON(new ByteArrayInputStream(geojson))
        def found = reconcile(objects(), record(file), fresh)
        hierarchy.removeObjects(found.going, true)
        hierarchy.addObjects(found.coming)
        hierarchy.resolveHierarchy()
        keepRecord(file, geojson)
        return [added: found.coming.size(), removed: found.going.size(), left_out: fresh.size() - found.coming.size()]
    }

    /**
     * Tells which of the objects go, since a run wrote them and nobody touched them, and which of the fresh ones come.
     * The same rules as the server's: what a person deleted or edited does not come back, unless all was cleared away to
     * begin again; on top of what stays nothing comes, but areas that a person drew to look at do not stand in the way.
     */
    static Map reconcile(Collection live, Collection record, Collection fresh) {
        def recorded = record.collectEntries { [it.getID(), it] }
        def (going, staying) = live.split { recorded.containsKey(it.getID()) && isUntouched(it, recorded[it.getID()]) }
        def goingIds = going.collect { it.getID() } as Set
        def stayingIds = staying.collect { it.getID() } as Set
        def hasOurs = live.any { recorded.containsKey(it.getID()) }
        def judged = hasOurs ? record.findAll { !(it.getID() in goingIds) } : []
        def judgedIds = judged.collect { it.getID() } as Set
        def judgedShapes = judged.collect { shapeOf(it) } as Set
        def blockers = staying.findAll { (recorded.containsKey(it.getID()) || isFinding(it)) && it.getROI()?.isArea() }
        def tree = new STRtree()
        blockers.each { tree.insert(it.getROI().getGeometry().getEnvelopeInternal(), it) }
        def coming = fresh.findAll { one ->
            !(one.getID() in judgedIds) && !(one.getID() in stayingIds) && !(shapeOf(one) in judgedShapes) &&
                (blockers.isEmpty() || !isCovered(one, tree))
        }
        return [going: going, coming: coming]
    }

    private static boolean isFinding(Object one) {
        def name = one.getPathClass()?.toString()
        return one.isDetection() || (one.isAnnotation() && name && !name.toLowerCase().startsWith('ignore') && !name.endsWith('*'))
    }

    private static boolean isCovered(Object one, STRtree tree) {
        def geometry = one.getROI().getGeometry()
        return tree.query(geometry.getEnvelopeInternal()).any { other ->
            if (one.getROI().getZ() != other.getROI().getZ() || one.getROI().getT() != other.getROI().getT())
                return false
            def kept = other.getROI().getGeometry()
            if (one.isDetection() && other.isDetection() && kept.intersects(geometry.getCentroid()))
                return true
            def common = kept.intersection(geometry).getArea()
            return common > IOU_MAX * (kept.getArea() + geometry.getArea() - common)
        }
    }

    private static List shapeOf(Object one) { [one.getPathClass()?.toString(), one.getROI().getAllPoints()] }

    /** Whether an object is as a run wrote it, its lock included. */
    static boolean isUntouched(Object one, Object written) {
        return one.isLocked() == written.isLocked() && one.getPathClass()?.toString() == written.getPathClass()?.toString() &&
            one.getName() == written.getName() && one.getMetadata()[DESCRIPTION] == written.getMetadata()[DESCRIPTION] &&
            isSameOutline(one.getROI(), written.getROI()) &&
            (!one.isCell() || !written.isCell() || isSameOutline(one.getNucleusROI(), written.getNucleusROI()))
    }

    private static boolean isSameOutline(Object one, Object other) {
        if (one == null || other == null)
            return one == null && other == null
        if (!['BoundsX', 'BoundsY', 'BoundsWidth', 'BoundsHeight'].every { Math.abs(one."get${it}"() - other."get${it}"()) <= SAME_PX })
            return false
        def points = one.getAllPoints(), others = other.getAllPoints()
        if (points == others || (points.size() == others.size() && (0..<points.size()).every { isNear(points[it], others[it]) }))
            return true
        // Another version of QuPath may have let rings begin elsewhere, or run the other way.
        return one.getGeometry().norm().equalsExact(other.getGeometry().norm(), SAME_PX)
    }

    private static boolean isNear(Object one, Object other) {
        Math.abs(one.getX() - other.getX()) <= SAME_PX && Math.abs(one.getY() - other.getY()) <= SAME_PX
    }

    /** What the last run wrote here, as written. */
    private static List record(Path file) {
        if (!Files.isRegularFile(file))
            return []
        return new GZIPInputStream(Files.newInputStream(file), 1 << 16).withCloseable { PathIO.readObjectsFromGeoJSON(it) }
    }

    private static void keepRecord(Path file, byte[] geojson) {
        Files.createDirectories(file.parent)
        def draft = Files.createTempFile(file.parent, '.record', '.tmp')
        new GZIPOutputStream(Files.newOutputStream(draft)).withCloseable { it.write(geojson) }
        Files.move(draft, file, StandardCopyOption.REPLACE_EXISTING)
    }

    private Path recordFile(String folder) {
        def home = entry != null ? Paths.get(projectPath(project)).parent.resolve('qpbridge') : QpBridgeClient.stateFolder().resolve('scripts')
        def slide = entry != null ? key : slidePath().toString()
        return home.resolve("${UUID.nameUUIDFromBytes("${slide}|${folder}".getBytes(StandardCharsets.UTF_8))}.geojson.gz".toString())
    }
}
