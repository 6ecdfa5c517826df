/**
 * Runs one script: with a window that shows progress and can cancel in the GUI, with plain lines on the command line.
 * The last line is always `QPBRIDGE DONE name` or `QPBRIDGE FAILED name: why`, since QuPath may exit with 0 either way.
 */
class QpBridgeScript {

    final String name
    private volatile boolean isCancelled = false
    private Object stage, label, bar
    private String lastStage = ''
    private long lastLine = 0

    QpBridgeScript(String name) { this.name = name }

    /** Does the work, a closure that takes the script; what it returns is told at the end. */
    static Object run(String name, Closure work) {
        def script = new QpBridgeScript(name)
        try {
            script.open()
            def told = work(script)
            println "qpbridge: ${told}"
            println "QPBRIDGE DONE ${name}"
            return told
        } catch (Throwable error) {
            println "QPBRIDGE FAILED ${name}: ${(error.message ?: error.toString()).replaceAll(/\s+/, ' ')}"
            if (!script.isCancelled)
                script.show(error)
            throw error
        } finally {
            script.close()
        }
    }

    /** Waits for a job, shows how it goes on, and stops it where the user cancels. */
    Map follow(QpBridgeClient client, Map job) {
        println "qpbridge: job ${job.id} begins: ${job.title ?: ''}"
        def ended = client.watch(job.id as String, { tell(it) }, { isCancelled })
        ended.warnings?.each { println "qpbridge: note: ${it}" }
        return ended
    }

    void tell(Map job) {
        def line = describe(job)
        def done = (job.progress?.done ?: 0) as double
        def total = (job.progress?.total ?: 0) as double
        if (stage != null)
            later { label.setText(describe(job, false)); bar.setProgress(total > 0 ? done / total : -1d) }
        def now = System.currentTimeMillis()
        if (job.progress?.stage != lastStage || now - lastLine > 5000) {
            lastStage = job.progress?.stage
            lastLine = now
            println "qpbridge: ${line}"
        }
    }

    /** Stage, rate and remaining time in a line, with losses and the like where that is wanted. */
    static String describe(Map job, boolean withNumbers = true) {
        def progress = job.progress as Map
        if (progress == null)
            return job.state == 'JOB_STATE_QUEUED' ? 'waits for its turn' : 'begins'
        def parts = [progress.stage]
        if (progress.total)
            parts << "${progress.done ?: 0} of ${progress.total}"
        if (progress.ratePerS)
            parts << String.format(Locale.ROOT, '%.1f/s', progress.ratePerS as double)
        if (progress.etaS)
            parts << "${Math.round(progress.etaS as double)} s left"
        (withNumbers ? progress.numbers : [:])?.each { key, value -> parts << "${key} ${plain(value as double)}" }
        return parts.join(', ')
    }

    private static String plain(double value) {
        value == Math.rint(value) ? String.format(Locale.ROOT, '%,.0f', value) : String.format(Locale.ROOT, '%.4g', value)
    }

    /** Whether QuPath's windows are there. */
    static boolean hasWindows() { viewer() != null }

    private static Object viewer() {
        try {
            return Class.forName('qupath.lib.gui.QuPathGUI').getMethod('getInstance').invoke(null)
        } catch (ReflectiveOperationException | LinkageError ignored) {
            return null
        }
    }

    private void open() {
        if (!hasWindows())
            return
        if (fx('javafx.application.Platform').isFxApplicationThread())
            throw QpBridgeClient.failed('start', 'INVALID_VALUE', "the script would freeze the viewer: switch off 'Run in GUI thread' in the script editor")
        later {
            label = fx('javafx.scene.control.Label').getDeclaredConstructor().newInstance()
            label.setText('asks the server')
            bar = fx('javafx.scene.control.ProgressBar').getDeclaredConstructor().newInstance()
            bar.setPrefWidth(420)
            def button = fx('javafx.scene.control.Button').getDeclaredConstructor().newInstance()
            button.setText('Cancel')
            button.setOnAction { isCancelled = true; button.setDisable(true) }
            def box = fx('javafx.scene.layout.VBox').getDeclaredConstructor().newInstance()
            box.setSpacing(10)
            box.setStyle('-fx-padding: 16')
            box.getChildren().addAll([label, bar, button])
            stage = fx('javafx.stage.Stage').getDeclaredConstructor().newInstance()
            stage.initOwner(viewer().getStage()) // stays before the viewer, which may be worked in
            stage.setTitle("qpbridge: ${name}".toString())
            stage.setScene(fx('javafx.scene.Scene').getConstructor(fx('javafx.scene.Parent')).newInstance(box))
            stage.setOnCloseRequest { isCancelled = true }
            stage.show()
        }
    }

    private void close() {
        if (hasWindows())
            later { stage?.close() }
    }

    private static void show(Throwable error) {
        if (hasWindows())
            later {
                def alert = fx('javafx.scene.control.Alert').getConstructor(fx('javafx.scene.control.Alert$AlertType'))
                    .newInstance(fx('javafx.scene.control.Alert$AlertType').valueOf('ERROR'))
                alert.setHeaderText('qpbridge')
                alert.setContentText(error.message ?: error.toString())
                alert.show()
            }
    }

    private static void later(Closure work) { fx('javafx.application.Platform').runLater(work as Runnable) }

    private static Class fx(String type) { Class.forName(type) }
}
