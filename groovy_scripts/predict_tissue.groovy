// Predict tissue regions in the selected annotations, or on the whole image where none is selected.
//
// Needs a running server (`qpbridge serve`) and the files of this folder beside it; nothing to install in QuPath 0.5 to 0.7.
// A second run replaces what the first found; what you drew, edited or locked stays.

// ---- settings ------------------------------------------------------------------------------------------------------
def URL = ''          // address of a server elsewhere, such as 'https://gpu.lab:50052'; empty: the one of this user
def TOKEN = ''        // its token; empty: QPBRIDGE_TOKEN, or found with the server
def MODEL = 'my-model' // its name on the server
def MIN_AREA_UM2 = 200 // smaller regions join a neighbor
def SMOOTH_UM = 0      // smooth outlines by this much
def PATH_MAP = []      // where slides lie for the server, such as ['D:\\slides=/mnt/slides']
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
def request = image.source(PATH_MAP) + [model: MODEL, gzip: true, minAreaUm2: MIN_AREA_UM2, smoothUm: SMOOTH_UM,
                                        annotations: areas ? [image.drawn(areas)] : []]

Script.run('predict_tissue') { script ->
    def client = Client.connect(url: URL, token: TOKEN)
    def job = script.follow(client, client.predict(request))
    return "regions: ${image.takeOver(client, job, 'predict tissue')}"
}
