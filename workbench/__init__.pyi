from . import analysis as analysis
from . import compression as compression
from . import condensation as condensation
from . import data as data
from . import diffusion as diffusion
from . import federated as federated
from . import gp as gp
from . import kernels as kernels
from . import knowledge as knowledge
from . import language as language
from . import models as models
from . import perception as perception
from . import records as records
from . import signals as signals
from . import studies as studies
from . import sweeps as sweeps
from . import training as training

__version__: str
