from . import glue as glue
from . import hub as hub
from . import metrics as metrics
from . import models as models
from . import own_data as own_data
from . import sentences as sentences
from . import tasks as tasks
