// Tell what the server sees of this project before any work: slides, pixel sizes, classes, what is not saved.
//
// Needs a running server (`qpbridge serve`) and the files of this folder beside it; nothing to install in QuPath 0.5 to 0.7.

// ---- settings ------------------------------------------------------------------------------------------------------
def URL = ''          // address of a server elsewhere, such as 'https://gpu.lab:50052'; empty: the one of this user
def TOKEN = ''        // its token; empty: QPBRIDGE_TOKEN, or found with the server
def PATH_MAP = []     // where slides lie for the server, such as ['D:\\slides=/mnt/slides']
// --------------------------------------------------------------------------------------------------------------------

def file = binding.variables['qupath.script.file']
def home = file ? new File(file as String).parentFile : new File(System.getenv('QPBRIDGE_SCRIPTS') ?: '.')
if (!new File(home, 'QpBridgeClient.groovy').isFile())
    throw new IllegalStateException("QpBridgeClient.groovy is not in ${home.absolutePath}: save this script in qpbridge's groovy_scripts folder, or set QPBRIDGE_SCRIPTS to it")
def loader = new GroovyClassLoader(getClass().classLoader)
loader.addClasspath(home.absolutePath)
def Client = loader.loadClass('QpBridgeClient')
def Image = loader.loadClass('QpBridgeImage')
def Script = loader.loadClass('QpBridgeScript')

def image = Image.current()
def isChanged = image.imageData.isChanged()
def toldBy = [CALIBRATION_SOURCE_PROJECT: 'QuPath', CALIBRATION_SOURCE_FILE: 'the file', CALIBRATION_SOURCE_REQUEST: 'the request']

Script.run('preflight') { script ->
    def client = Client.connect(url: URL, token: TOKEN)
    def report = client.inspect([project: Image.projectPath(image.project), pathMap: PATH_MAP])
    report.entries.each { entry ->
        def pixels = entry.image?.calibration ? String.format(Locale.ROOT, '%.4g um/px by %s', entry.image.calibration.mppX as double, toldBy[entry.image.calibrationSource] ?: 'the server') : 'no pixel size'
        println "qpbridge: ${entry.name}: ${entry.image?.slide ?: 'NOT FOUND'}, ${pixels}"
        entry.classes.each { one ->
            def area = one.areaMm2 ? String.format(Locale.ROOT, ', %.3g mm2', one.areaMm2 as double) : ''
            println "qpbridge:   ${one.name ?: 'no class'}: ${one.annotations ?: 0} annotations${area}${one.isIgnored && !one.isRegion ? ', not for training' : ''}"
        }
        entry.notes.each { println "qpbridge:   note: ${it}" }
        entry.problems.each { println "qpbridge:   cannot be used: ${it.message} [${it.reason}]" }
        entry.troubles.each { println "qpbridge:   ${it.count} x ${it.what} (${it.examples.join(', ')})" }
    }
    report.missing.each { println "qpbridge: ${it.slides} slides of ${it.folder} are not found: tell where they are with PATH_MAP = ['${it.folder.replace('\\', '\\\\')}=FOLDER']" }
    report.similarClasses.each { println "qpbridge: classes that may be meant as one: ${it.names.join(', ')}" }
    if (isChanged)
        println 'qpbridge: the open image has changes that are not saved; scripts send them, the command line does not see them'
    return report.training?.obstacle ? "training would refuse: ${report.training.obstacle}" : 'training could start'
}
