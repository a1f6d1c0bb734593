"""Train CoOp on a folder of pictures, score it, and name a picture, with other names too.

    python examples/train_and_predict.py [--out DIR]

The pictures are drawn first, one subfolder per class, as yours would be; the backbone comes with
the package, so nothing is downloaded. Everything is written into DIR, by default a temporary folder
that is deleted at the end.
"""

from pathlib import Path

from setting import draw_pictures, run_in_folder

from diffuprompt import Classifier
from diffuprompt.jobs import JobConfig, evaluate_run, train_job
from diffuprompt.record import read_record


def main(out: Path) -> None:
    """Train, score, predict."""
    pictures = draw_pictures(out / "pictures")
    job = JobConfig(
        data=str(pictures),
        backbone="scenes-clip",  # it knows drawn scenes; for photographs leave this out
        learner="coop",
        shots=8,
        overrides=("epochs=10", "views=2"),  # leave this out to train by the whole recipe
        runs_dir=out / "runs",
    )
    run = train_job(job)  # repeated, it returns at once; interrupted, it goes on where it was
    (score,) = read_record(evaluate_run(run)).scores
    print(f"accuracy on {score.total} test pictures: {score.metrics['accuracy']:.1f} %")

    picture = pictures / "red star" / "0.png"
    model = Classifier.from_pretrained(run)
    show(model, picture)
    show(model.with_classes(["star", "circle", "heart"]), picture)  # the same prompts


def show(model: Classifier, picture: Path) -> None:
    """Print the most probable name of a picture."""
    name, probability = next(iter(model(picture).items()))
    print(f"one of {len(model.classes)} names: {name} ({probability:.2f})")


if __name__ == "__main__":
    run_in_folder(main, __doc__)
