// Find nuclei in the selected annotations, or on the whole image where none is selected.
//
// Needs a running server (`qpbridge serve`) and the files of this folder beside it; nothing to install in QuPath 0.5 to 0.7.
// Nuclei come as detections or cells inside the annotations that they lie in.

// ---- settings ------------------------------------------------------------------------------------------------------
def URL = ''          // address of a server elsewhere, such as 'https://gpu.lab:50052'; empty: the one of this user
def TOKEN = ''        // its token; empty: QPBRIDGE_TOKEN, or found with the server
def MODEL = 'my-nuclei' // its name on the server
def OPTIONS = [:]     // further fields of the request that the server knows, such as [cellUm: 5]
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
def areas = image.selectedAnnotations()
def request = image.source(PATH_MAP) + [model: MODEL, gzip: true, annotations: areas ? [image.drawn(areas)] : []] + OPTIONS

Script.run('detect_nuclei') { script ->
    def client = Client.connect(url: URL, token: TOKEN)
    def job = script.follow(client, client.predict(request))
    return "nuclei: ${image.takeOver(client, job, 'detect nuclei')}"
}
