# The operator, static, in an image with nothing else but the CA roots.
#
#   docker build --tag key-protect-operator:0.1.0 .
#
# The build stage needs cargo, a C compiler and ca-certificates. Another image that has them does
# as well, as where no registry is reachable: tests/image/build makes one of the machine it is on.
ARG BUILDER=docker.io/library/rust:1.95-bookworm
FROM ${BUILDER} AS build
WORKDIR /src
COPY . .
# Where the sources lie in here is not in the binary, and the same sources make the same bytes.
ARG TARGET=x86_64-unknown-linux-gnu
ARG CARGO_NET_OFFLINE=false
ARG SOURCE_DATE_EPOCH=0
RUN sh tests/image/compile target \
 && install -D -m 0755 "target/${TARGET}/release/key-protect-operator" /image/key-protect-operator \
 && install -D -m 0644 /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ca-certificates.crt

FROM scratch
LABEL org.opencontainers.image.title="key-protect-operator" \
      org.opencontainers.image.description="Keeps Kubernetes Secrets equal to keys held in IBM Key Protect" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /image/ /
# By number, so that the kubelet can tell that it is not root; OpenShift gives another one.
USER 65532:65532
EXPOSE 8080 8081
ENTRYPOINT ["/key-protect-operator"]
CMD ["run"]
