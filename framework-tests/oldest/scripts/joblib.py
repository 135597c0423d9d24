import joblib
import numpy

joblib.dump({"w": numpy.arange(9.0)}, "model.joblib")
joblib.dump({"w": numpy.arange(9.0)}, "compressed.joblib", compress=3)
large = numpy.zeros(200_000)
joblib.Parallel(n_jobs=2, max_nbytes=1000)(joblib.delayed(abs)(large) for _ in range(2))
