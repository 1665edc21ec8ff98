"""What is seen: the glimpse network on annotated and normal cells, as the policy will see them.

Without annotations it learns from the labels of slides. At first every place of a slide with macrometastases counts as
tumor; later those that it holds for tumor itself, half of them in normal surroundings, as micrometastases.
"""

import keras
import numpy as np

from foveate.attention.agent import Agent
from foveate.attention.learner import GlimpseLearner
from foveate.stages.augment import stain, stain_exponents, turned_glimpses
from foveate.stages.training.pace import warmed_up
from foveate.stages.training.patches import Patches, PatchSampler
from foveate.stages.training.ranking import patch_sampler
from foveate.stages.training.reading import batches, in_batches
from foveate.stages.training.session import Phase, Session, mean_of
from foveate.stages.training.survey import Survey, blanked, transplanted

STREAM = 1
# without annotations:
BLAMING = 0.6  # of the epochs, the first ones, in which places count as what their slide is
SURVEYED, SURVEYED_NEGATIVE = 10, 2  # places of a slide that are looked at in a later epoch, times those of an epoch
BLANK = 0.5  # chance of each square but the finest to be blank: what is coarse tells slides apart


class Glimpses(Phase):
    """Teaches the glimpse network which lesion, if any, a glimpse shows."""

    name = "glimpses"

    def __init__(self, session: Session, agent: Agent) -> None:
        self._session, self._agent = session, agent
        settings = session.config.train
        self._count = settings.pretrain_patches * len(session.enrolled)
        self._patches: PatchSampler | None = None
        self._survey: Survey | None = None
        self.epochs = settings.pretrain_epochs if session.annotated or session.contrasted else 0
        agent.learn_only("sight")
        self.learner = GlimpseLearner(agent)
        rate = warmed_up(settings.pretrain_rate, max(1, self.epochs * len(batches(self._count))))
        self.learner.compile(
            keras.optimizers.Adam(rate, global_clipnorm=5.0),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        )

    def epoch(self, number: int) -> dict[str, float]:
        """One pass over freshly drawn places."""
        session = self._session
        rng = np.random.default_rng([session.config.train.seed, STREAM, number])
        annotated = session.annotated  # a look at every slide
        draws = self._annotated(rng) if annotated else self._labelled(number, rng)
        done = []
        slides, title = session.enrolled, f"glimpses {number + 1}/{self.epochs}"
        for rows, read in in_batches(session, draws.slide, draws.location_um, title):
            exponents = stain_exponents(len(rows), rng)
            pixels = turned_glimpses(stain(read, exponents), rng.integers(8, size=len(rows)))
            label = draws.label[rows]
            if not annotated:
                if not self._blames(number):
                    clean = np.array([not session.label[slides[k].slide] for k in draws.slide[rows]])
                    pixels, label = transplanted(pixels, label, clean, rng)
                pixels = blanked(pixels, rng.random(pixels.shape[:2]) < BLANK)
            done.append(self.learner.train_on_batch(pixels, label, return_dict=True))
        return {**mean_of(done), "glimpses": float(self._count)}

    def _annotated(self, rng: np.random.Generator) -> Patches:
        if self._patches is None:
            self._patches = patch_sampler(self._session, self._agent)
        return self._patches.draw(self._count, rng)

    def _labelled(self, number: int, rng: np.random.Generator) -> Patches:
        """By the labels of slides, and what the glimpse network, as it is, holds places for: nothing else is kept."""
        if self._survey is None:
            self._survey = Survey(self._session, self._agent)
        bags, per_slide = self._survey.bags, self._session.config.train.pretrain_patches
        if self._blames(number):
            return bags.blame(self._count, rng)
        places = bags.survey({bags.largest: SURVEYED * per_slide, 0: SURVEYED_NEGATIVE * per_slide}, rng)
        return bags.relabel(places, self._survey.tumor(places), self._count, rng)

    def _blames(self, number: int) -> bool:
        """Whether places count as what their slide is, not yet as what sight holds them for."""
        return number < BLAMING * self.epochs
