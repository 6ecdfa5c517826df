// Runs scripts on a made-up image, one after the other; arguments: root, folder of scripts. Tells what the image holds, a line each.
import made.MadeImage
import made.MadeObject
import qupath.lib.scripting.QP

def image = new MadeImage(file: new File(args[0], 'project.qpproj'), slide: new File(args[0], 'a.svs'))
QP.imageData = QP.project = QP.projectEntry = image
def drawn = MadeObject.box(pathClass: 'Tumor', 0, 0, 50, 50)
image.all << drawn
def run = { name ->
    def binding = new Binding(['qupath.script.file': new File(args[1], "${name}.groovy").path])
    try {
        new GroovyShell(getClass().classLoader, binding).evaluate(new File(args[1], "${name}.groovy"))
    } catch (Exception error) {
        println "threw ${name}: ${error.message}"
    }
    println "image ${name}: ${image.all.size()} objects, ${image.updates} updates, ${image.steps.size()} steps, jobs ${image.getProperty('qpbridge.jobs')?.tokenize(',')?.size() ?: 0}"
}

run('preflight')
run('train')
run('train_weak')
run('predict_tissue')
def found = image.all.findAll { it !== drawn }
found[0].locked = true
found[1].move(5, 0)
def edited = found.take(2)
run('predict_tissue')
println "kept ${edited.every { one -> image.all.any { it.is(one) } }} drawn ${image.all.any { it.is(drawn) }} twice ${image.all.size() - image.all.collect { it.ID }.toSet().size()}"
image.selected = [drawn]
run('detect_nuclei')
run('undo')
run('import_results')
run('run_for_project')
run('suggest_regions')
println "suggested ${image.all.count { it.pathClass == 'Review*' }}"
run('undo')
println "saved ${image.saved}"
