# tidings in a container: `docker build -t tidings .`, then
# `docker run -p 127.0.0.1:9000:9000 -v tidings:/var/lib/tidings tidings`.
# The first start makes a key pair: `docker exec CONTAINER cat /var/lib/tidings/credentials.toml`.

FROM rust:1.95.0-bookworm AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libssl-dev zlib1g-dev pkg-config \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# The image's own toolchain is the pinned one: nothing else is fetched for it.
RUN RUSTUP_TOOLCHAIN=1.95.0 cargo build --release --locked --bin tidings

FROM debian:12.12-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends bubblewrap ca-certificates libssl3 python3 zlib1g \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 tidings \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/tidings --shell /usr/sbin/nologin tidings \
    && install --directory --owner 10001 --group 10001 --mode 0700 /var/lib/tidings
COPY --from=build /src/target/release/tidings /usr/local/bin/tidings
USER 10001:10001
# The admin API stays on the container's loopback: its health check and `docker exec CONTAINER tidings target ls` reach it.
ENV TIDINGS__SERVER__LISTEN=0.0.0.0:9000 \
    TIDINGS__SERVER__DATA=/var/lib/tidings
VOLUME ["/var/lib/tidings"]
EXPOSE 9000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["tidings", "ready"]
ENTRYPOINT ["tidings"]
CMD ["serve"]
