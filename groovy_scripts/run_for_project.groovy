// Predict every image of this project and save what was found.
//
// Needs a running server (`qpbridge serve`) and the files of this folder beside it; nothing to install in QuPath 0.5 to 0.7.
// One job on the server; an image that fails is told and does not stop the others.

// ---- settings ------------------------------------------------------------------------------------------------------
def URL = ''          // address of a server elsewhere, such as 'https://gpu.lab:50052'; empty: the one of this user
def TOKEN = ''        // its token; empty: QPBRIDGE_TOKEN, or found with the server
def MODEL = 'my-model' // its name on the server
def ENTRIES = []      // names of images; empty: all
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

def QP = loader.loadClass('qupath.lib.scripting.QP')
def project = QP.getProject()
def openEntry = QP.getProjectEntry()
def openData = QP.getCurrentImageData()
def request = [project: [project: Image.projectPath(project), entries: ENTRIES, pathMap: PATH_MAP], model: MODEL, gzip: true]

Script.run('run_for_project') { script ->
    def client = Client.connect(url: URL, token: TOKEN)
    def job = script.follow(client, client.predict(request))
    def failures = (job.predict.failures ?: []).collect { it.message }
    job.predict.slides.each { slide ->
        def entry = project.getImageList().find { it.getID() == slide.key }
        def isOpen = openEntry != null && openEntry.getID() == entry.getID()
        def imageData = isOpen ? openData : entry.readImageData()
        try {
            def counts = Image.getDeclaredConstructor(Object, Object, Object).newInstance(imageData, project, entry).takeOver(client, job, 'run for project')
            entry.saveImageData(imageData)
            println "qpbridge: ${slide.name}: ${counts}"
        } catch (Exception error) {
            failures << "${slide.name}: ${error.message}"
        } finally {
            if (!isOpen)
                imageData.getServer().close()
        }
    }
    if (failures)
        throw new IllegalStateException("${failures.size()} images failed: ${failures.join('; ')}")
    return "${job.predict.slides.size()} images are predicted and saved"
}
