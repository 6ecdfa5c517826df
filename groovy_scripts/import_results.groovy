// Take over the results of a job that somebody else, the command line or the night has run.
//
// Needs a running server (`qpbridge serve`) and the files of this folder beside it; nothing to install in QuPath 0.5 to 0.7.

// ---- settings ------------------------------------------------------------------------------------------------------
def URL = ''          // address of a server elsewhere, such as 'https://gpu.lab:50052'; empty: the one of this user
def TOKEN = ''        // its token; empty: QPBRIDGE_TOKEN, or found with the server
def JOB = ''           // its id, as `qpbridge jobs list` tells it; empty: the newest prediction that has this image
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

Script.run('import_results') { script ->
    def client = Client.connect(url: URL, token: TOKEN)
    def candidates = JOB ? [[id: JOB]] : client.call('JobService/ListJobs', [pageSize: 50, kinds: ['JOB_KIND_PREDICT'],
        states: ['JOB_STATE_SUCCEEDED', 'JOB_STATE_PARTLY_DONE']]).jobs ?: []
    for (candidate in candidates) {
        def job = client.job(candidate.id)
        if (!job.predict?.slides?.any { it.key == image.key || it.name == image.key })
            continue
        try {
            return "results of job ${job.id}: ${image.takeOver(client, job, 'import results')}"
        } catch (RuntimeException gone) {
            if (JOB || Client.reasonOf(gone) != 'PREDICTION_NOT_FOUND')
                throw gone // else one that was undone; an older one may be there
        }
    }
    throw new IllegalStateException("no prediction of this image (${image.key}) on the server: run predict_tissue, or name the job")
}
