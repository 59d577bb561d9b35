//! `/api/v1/machines`.

use bytes::Bytes;
use fireactions_model::{MachineId, MachineView};
use reqwest::Method;

use super::{Client, ClientStream, Result};
use crate::{HoldRequest, MachineUsage};

impl Client {
    /// Every machine.
    pub async fn machines(&self) -> Result<Vec<MachineView>> {
        self.json(self.get("/api/v1/machines")).await
    }

    /// One machine.
    pub async fn machine(&self, id: &MachineId) -> Result<MachineView> {
        self.json(self.get(&format!("/api/v1/machines/{id}"))).await
    }

    /// What machines use now.
    pub async fn usage(&self) -> Result<Vec<MachineUsage>> {
        self.json(self.get("/api/v1/usage")).await
    }

    /// Lets an idle or held machine go at once.
    pub async fn remove_machine(&self, id: &MachineId) -> Result<MachineView> {
        self.json(self.request(Method::DELETE, &format!("/api/v1/machines/{id}"))).await
    }

    /// Has a machine held once its job has ended.
    pub async fn hold_machine(&self, id: &MachineId, to: HoldRequest) -> Result<MachineView> {
        self.json(self.request(Method::PUT, &format!("/api/v1/machines/{id}/hold")).json(&to)).await
    }

    /// Takes that back.
    pub async fn unhold_machine(&self, id: &MachineId) -> Result<MachineView> {
        self.json(self.request(Method::DELETE, &format!("/api/v1/machines/{id}/hold"))).await
    }

    /// A machine's console, raw: its last `tail` lines, and with `follow` what comes after.
    pub async fn console(
        &self,
        id: &MachineId,
        tail: Option<u64>,
        follow: bool,
    ) -> Result<ClientStream<Bytes>> {
        let mut request =
            self.get(&format!("/api/v1/machines/{id}/console")).query(&[("follow", follow.to_string())]);
        if let Some(tail) = tail {
            request = request.query(&[("tail", tail.to_string())]);
        }
        let answer = self.send(request).await?;
        Ok(self.bytes(answer))
    }
}
