FROM node:24-slim
WORKDIR /opt/homeostat
ENV NODE_ENV=production
COPY package.json package-lock.json .npmrc ./
COPY schemas/package.json schemas/
COPY agent/package.json agent/
COPY ingest/package.json ingest/
COPY analytics/package.json analytics/
COPY detectors/package.json detectors/
COPY remediation/package.json remediation/
COPY app/package.json app/
# The optional packages are the pinned Node and the embedded ClickHouse; here the image is the one and a server is the other.
RUN npm ci --omit=dev --omit=optional && npm cache clean --force
COPY schemas schemas
COPY agent agent
COPY ingest ingest
COPY analytics analytics
COPY detectors detectors
COPY remediation remediation
COPY app app
RUN install -d -o node -g node -m 700 /var/lib/homeostat
USER node
VOLUME /var/lib/homeostat
EXPOSE 7070
ENTRYPOINT ["node", "app/bin/homeostat.mjs"]
CMD ["start"]
