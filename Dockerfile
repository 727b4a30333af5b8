# The programs, built for the machine that builds the image, on CPUs:
#   docker build -t generous .
#   docker run --rm -v "$PWD/runs:/generous/runs" generous build/apps/train_kd --help
# The two scripts of .github/workflows/ci.yml: docker run --rm generous; docker run --rm generous bash .ci/run
FROM debian:12
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates git
WORKDIR /generous
COPY . .
RUN bash apps/setup.sh
CMD ["bash", "tests/run.sh"]
