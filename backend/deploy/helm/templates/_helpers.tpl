{{- define "trinity.name" -}}
{{- default .Release.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* The name of one part: (dict "root" $ "part" "llm"). */}}
{{- define "trinity.part" -}}
{{- printf "%s-%s" (include "trinity.name" .root) .part -}}
{{- end -}}

{{- define "trinity.selector" -}}
app.kubernetes.io/name: trinity
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end -}}

{{- define "trinity.labels" -}}
{{ include "trinity.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | quote }}
{{- end -}}

{{- define "trinity.image" -}}
{{- $image := .root.Values.image -}}
{{- $tag := default .root.Chart.AppVersion $image.tag -}}
{{- if $image.registry }}{{ $image.registry }}/{{ end }}{{ $image.repository }}-{{ .part }}:{{ $tag }}
{{- end -}}

{{- define "trinity.secret" -}}
{{- default (include "trinity.part" (dict "root" . "part" "keys")) .Values.secrets.existingSecret -}}
{{- end -}}

{{- define "trinity.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "trinity.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* Where pods of one part go: (dict "root" $ "part" "llm" "values" .Values.llm). */}}
{{- define "trinity.placement" -}}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "trinity.selector" . | nindent 8 }}
{{- end -}}

{{/* The probes of a program of ours: (dict "wait" 600), the seconds it may take to start. */}}
{{- define "trinity.probes" -}}
startupProbe:
  httpGet: {path: /health/startup, port: health}
  periodSeconds: 2
  failureThreshold: {{ div .wait 2 }}
readinessProbe:
  httpGet: {path: /health/ready, port: health}
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 2
livenessProbe:
  httpGet: {path: /health/live, port: health}
  periodSeconds: 10
  timeoutSeconds: 3
  failureThreshold: 3
{{- end -}}

{{/* Seconds before the stop signal, so that no new connection is on its way: (dict "root" $ "seconds" 3). */}}
{{- define "trinity.linger" -}}
{{- if semverCompare ">=1.30-0" .root.Capabilities.KubeVersion.Version -}}
preStop: {sleep: {seconds: {{ .seconds }}}}
{{- else -}}
preStop: {exec: {command: [sleep, {{ .seconds | quote }}]}}
{{- end -}}
{{- end -}}

{{- define "trinity.claim" -}}
accessModes: {{ toJson (default (list "ReadWriteOnce") .accessModes) }}
{{- with .storageClass }}
storageClassName: {{ . | quote }}
{{- end }}
resources: {requests: {storage: {{ default "5Gi" .size }}}}
{{- end -}}
